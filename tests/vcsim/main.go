// A vCenter for the tests: VMware's own simulator, with a datacenter DC0, on loopback and a port of its own choice.
//
// It says where it listens, and ends with its standard input. A line there makes a call fail: the name of a method, a
// fault (session, permission, space, down, taken), and how often. It answers each line with one.
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log"
	"net/url"
	"os"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

var faults = map[string]types.BaseMethodFault{
	"session":    &types.NotAuthenticated{},
	"permission": &types.NoPermission{PrivilegeId: "VirtualMachine.Inventory.Delete"},
	"space":      &types.NoDiskSpace{Datastore: "LocalDS_0"},
	"down":       &types.HostCommunication{},
	"taken":      &types.DuplicateName{Name: "another", Object: types.ManagedObjectReference{Type: "Folder", Value: "group-d1"}},
}

func main() {
	model := simulator.VPX()
	model.Autostart = false
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(os.Args[1], os.Args[2])}
	model.Service.TLS = new(tls.Config)
	server := model.Service.NewServer()
	fmt.Println(server.URL.Host)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var method, fault string
		var times int
		if _, err := fmt.Sscan(lines.Text(), &method, &fault, &times); err != nil || faults[fault] == nil {
			log.Fatalf("not understood: %s", lines.Text())
		}
		model.Service.AddFaultRule(&simulator.FaultInjectionRule{
			MethodName: method, ObjectType: "*", ObjectName: "*", Probability: 1, MaxCount: times, Enabled: true,
			FaultType: simulator.FaultTypeCustom, Fault: faults[fault],
		})
		fmt.Println("so be it")
	}
	server.Close()
	model.Remove()
}
